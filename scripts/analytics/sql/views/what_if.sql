-- What would the same tokens have cost on another model of the region, at public prices of the standard tier?
-- Without a price for cached tokens, the other model's cached tokens count as plain input. Excludes usage with images.
WITH tokens AS (
  SELECT
    dt,
    tenant_id,
    model_id,
    region,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_5m_tokens) AS cache_write_5m_tokens,
    sum(cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(cost) AS cost,
    sum(coalesce(list_cost, cost)) AS list_cost
  FROM usage
  WHERE price_status = 'priced' AND images = 0 AND input_images = 0
  GROUP BY 1, 2, 3, 4
), others AS (
  SELECT
    d.dt,
    d.region,
    p.model_id,
    max(CASE WHEN p.unit = 'input_tokens' THEN p.usd_each END) AS input_each,
    max(CASE WHEN p.unit = 'output_tokens' THEN p.usd_each END) AS output_each,
    max(CASE WHEN p.unit = 'cache_read_tokens' THEN p.usd_each END) AS cache_read_each,
    max(CASE WHEN p.unit = 'cache_write_5m_tokens' THEN p.usd_each END) AS cache_write_5m_each,
    max(CASE WHEN p.unit = 'cache_write_1h_tokens' THEN p.usd_each END) AS cache_write_1h_each
  FROM (SELECT DISTINCT dt, region FROM tokens) AS d
  INNER JOIN price_periods AS p
    ON p.region = d.region AND p.tier = 'default'
    AND p.effective_from <= CAST(d.dt AS date) AND p.until > CAST(d.dt AS date)
  GROUP BY 1, 2, 3
)
SELECT
  t.dt,
  t.tenant_id,
  t.model_id,
  t.region,
  o.model_id AS other_model_id,
  CAST(t.cost AS decimal(38, 12)) AS cost,
  CAST(t.list_cost AS decimal(38, 12)) AS list_cost,
  CAST(
    CAST(t.input_tokens AS decimal(19, 0)) * o.input_each
    + CAST(t.output_tokens AS decimal(19, 0)) * o.output_each
    + CAST(t.cache_read_tokens AS decimal(19, 0)) * coalesce(o.cache_read_each, o.input_each)
    + CAST(t.cache_write_5m_tokens AS decimal(19, 0)) * coalesce(o.cache_write_5m_each, o.input_each)
    + CAST(t.cache_write_1h_tokens AS decimal(19, 0)) * coalesce(o.cache_write_1h_each, o.input_each)
    AS decimal(38, 12)
  ) AS other_cost
FROM tokens AS t
INNER JOIN others AS o ON o.dt = t.dt AND o.region = t.region
WHERE o.input_each IS NOT NULL AND o.output_each IS NOT NULL AND o.model_id <> t.model_id
