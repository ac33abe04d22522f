-- Which tenants and models had calls that failed, broke off or never settled in the last seven days?
SELECT
  tenant_id,
  model_id,
  count_if(outcome = 'failed') AS failed,
  count_if(outcome = 'interrupted') AS interrupted,
  count_if(outcome = 'unsettled') AS unsettled,
  count(*) AS attempts,
  sum(cost) AS cost
FROM usage
WHERE dt >= date_format(current_date - INTERVAL '7' DAY, '%Y-%m-%d')
GROUP BY tenant_id, model_id
HAVING count_if(outcome = 'failed' OR outcome = 'interrupted' OR outcome = 'unsettled') > 0
ORDER BY tenant_id, model_id
