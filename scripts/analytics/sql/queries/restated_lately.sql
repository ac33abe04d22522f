-- Which closed days changed in the last ninety days, by how much, and why?
SELECT month, moment, cause, tenant_id, cost_centre, model_id, sum(cost) AS cost, max(restated_at) AS last_restated_at
FROM price_restatements
WHERE dt >= date_format(current_date - INTERVAL '400' DAY, '%Y-%m-%d')
  AND restated_at >= CAST(current_date AS timestamp) - INTERVAL '90' DAY
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY month, moment, cause, tenant_id, cost_centre, model_id
