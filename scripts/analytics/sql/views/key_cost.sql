-- What did each key cost on each day? The lines of a tenant's day sum to its cost in `daily_cost`.
SELECT
  dt,
  tenant_id,
  key_id,
  CAST(sum(CASE WHEN outcome IN ('succeeded', 'interrupted') THEN 1 ELSE 0 END) AS bigint) AS invocations,
  CAST(sum(CASE WHEN outcome = 'failed' THEN 1 ELSE 0 END) AS bigint) AS failed_invocations,
  CAST(sum(CASE WHEN price_status = 'unpriced' THEN 1 ELSE 0 END) AS bigint) AS unpriced_invocations,
  CAST(sum(input_tokens) AS bigint) AS input_tokens,
  CAST(sum(output_tokens) AS bigint) AS output_tokens,
  CAST(sum(cache_read_tokens) AS bigint) AS cache_read_tokens,
  CAST(sum(cache_write_5m_tokens + cache_write_1h_tokens) AS bigint) AS cache_write_tokens,
  CAST(sum(images) AS bigint) AS images,
  CAST(sum(input_cost) AS decimal(38, 12)) AS input_cost,
  CAST(sum(output_cost) AS decimal(38, 12)) AS output_cost,
  CAST(sum(cost) AS decimal(38, 12)) AS cost,
  CAST(sum(coalesce(list_cost, cost)) AS decimal(38, 12)) AS list_cost
FROM usage
GROUP BY 1, 2, 3
