-- What is each cost centre charged for last month?
SELECT tenant_id, cost_centre, cost, list_cost - cost AS below_list, restated_cost, invocations, unpriced_invocations
FROM cost_centre_chargeback
WHERE month = date_format(current_date - INTERVAL '1' MONTH, '%Y-%m')
ORDER BY tenant_id, cost_centre
