-- What does each tenant owe for last month?
SELECT tenant_id, sum(cost) AS cost, sum(list_cost) AS list_cost, sum(unpriced_invocations) AS unpriced_invocations
FROM cost_centre_chargeback
WHERE month = date_format(current_date - INTERVAL '1' MONTH, '%Y-%m')
GROUP BY tenant_id
ORDER BY cost DESC NULLS LAST, tenant_id
