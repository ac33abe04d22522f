-- What did each day cost, by tenant, cost centre and model? It includes late rows and new prices.
SELECT
  dt,
  tenant_id,
  cost_centre,
  model_id,
  CAST(sum(invocations) AS bigint) AS invocations,
  CAST(sum(failed_invocations) AS bigint) AS failed_invocations,
  CAST(sum(unpriced_invocations) AS bigint) AS unpriced_invocations,
  CAST(sum(input_tokens) AS bigint) AS input_tokens,
  CAST(sum(output_tokens) AS bigint) AS output_tokens,
  CAST(sum(cache_read_tokens) AS bigint) AS cache_read_tokens,
  CAST(sum(cache_write_5m_tokens + cache_write_1h_tokens) AS bigint) AS cache_write_tokens,
  CAST(sum(images) AS bigint) AS images,
  CAST(sum(input_cost) AS decimal(38, 12)) AS input_cost,
  CAST(sum(output_cost) AS decimal(38, 12)) AS output_cost,
  CAST(sum(cost) AS decimal(38, 12)) AS cost,
  CAST(sum(coalesce(list_cost, cost)) AS decimal(38, 12)) AS list_cost
FROM costs
GROUP BY dt, tenant_id, cost_centre, model_id
