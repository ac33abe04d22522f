-- What did each user cost last month? The lines of a tenant sum to its cost, calls without a user included.
SELECT
  tenant_id,
  user_id,
  user_source,
  sum(invocations) AS invocations,
  sum(input_tokens) AS input_tokens,
  sum(output_tokens) AS output_tokens,
  sum(cost) AS cost
FROM user_cost
WHERE dt >= date_format(current_date - INTERVAL '1' MONTH, '%Y-%m-01') AND dt < date_format(current_date, '%Y-%m-01')
GROUP BY tenant_id, user_id, user_source
ORDER BY tenant_id, cost DESC NULLS LAST, user_id, user_source
