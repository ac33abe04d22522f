-- What did each value of each tag cost last month, on the days that have the tag?
SELECT tenant_id, tag_name, tag_value, sum(invocations) AS invocations, sum(cost) AS cost, count(*) AS days
FROM tag_cost
WHERE dt >= date_format(current_date - INTERVAL '1' MONTH, '%Y-%m-01') AND dt < date_format(current_date, '%Y-%m-01')
GROUP BY tenant_id, tag_name, tag_value
ORDER BY tenant_id, tag_name, cost DESC NULLS LAST, tag_value
