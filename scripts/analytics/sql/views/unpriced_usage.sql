-- Which usage has no price yet? No cost includes it: each line is money missing from the reports.
SELECT
  dt,
  tenant_id,
  cost_centre,
  model_id,
  region,
  service_tier,
  CAST(count(*) AS bigint) AS invocations,
  CAST(sum(input_tokens) AS bigint) AS input_tokens,
  CAST(sum(output_tokens) AS bigint) AS output_tokens,
  CAST(sum(cache_read_tokens) AS bigint) AS cache_read_tokens,
  CAST(sum(cache_write_5m_tokens + cache_write_1h_tokens) AS bigint) AS cache_write_tokens,
  CAST(sum(images) AS bigint) AS images,
  CAST(sum(input_images) AS bigint) AS input_images,
  max(price_version) AS price_version
FROM usage
WHERE price_status = 'unpriced'
GROUP BY dt, tenant_id, cost_centre, model_id, region, service_tier
