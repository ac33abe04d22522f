-- What would prompt caching, batch or flex have saved last month?
SELECT
  tenant_id,
  model_id,
  sum(list_cost) AS list_cost,
  sum(prompt_caching_saves_at_most) AS prompt_caching_saves_at_most,
  sum(batch_saves) AS batch_saves,
  sum(flex_saves) AS flex_saves
FROM savings
WHERE dt >= date_format(current_date - INTERVAL '1' MONTH, '%Y-%m-01') AND dt < date_format(current_date, '%Y-%m-01')
GROUP BY tenant_id, model_id
ORDER BY list_cost DESC, tenant_id, model_id
