-- How much would prompt caching, batch or flex have saved, at public prices? Covers usage at the standard tier only.
--   prompt caching: the maximum, if every plain input token had been read from a cache (without the cost of writes)
--   batch, flex: if all calls of the line had used that tier; null if a component has no price in it
WITH standard AS (
  SELECT
    p.dt,
    p.tenant_id,
    p.model_id,
    p.tier,
    p.unit,
    p.quantity,
    p.list_each,
    c.usd_each AS cached_each,
    b.usd_each AS batch_each,
    f.usd_each AS flex_each
  FROM usage_by_price AS p
  LEFT JOIN price_periods AS c
    ON c.model_id = p.priced_model AND c.region = p.priced_region AND c.tier = p.tier AND c.unit = 'cache_read_tokens'
    AND c.effective_from <= CAST(p.dt AS date) AND c.until > CAST(p.dt AS date) AND p.unit = 'input_tokens'
  LEFT JOIN price_periods AS b
    ON b.model_id = p.priced_model AND b.region = p.priced_region AND b.unit = p.unit
    AND b.tier = replace(p.tier, 'default', 'batch')
    AND b.effective_from <= CAST(p.dt AS date) AND b.until > CAST(p.dt AS date)
  LEFT JOIN price_periods AS f
    ON f.model_id = p.priced_model AND f.region = p.priced_region AND f.unit = p.unit
    AND f.tier = replace(p.tier, 'default', 'flex')
    AND f.effective_from <= CAST(p.dt AS date) AND f.until > CAST(p.dt AS date)
  WHERE p.tier LIKE 'default%'
)
SELECT
  dt,
  tenant_id,
  model_id,
  CAST(sum(CAST(quantity AS decimal(19, 0)) * list_each) AS decimal(38, 12)) AS list_cost,
  CAST(
    sum(CAST(quantity AS decimal(19, 0)) * greatest(list_each - coalesce(cached_each, list_each), CAST(0 AS decimal(38, 12))))
    AS decimal(38, 12)
  ) AS prompt_caching_saves_at_most,
  CAST(
    CASE WHEN count(*) = count(batch_each) THEN sum(CAST(quantity AS decimal(19, 0)) * (list_each - batch_each)) END
    AS decimal(38, 12)
  ) AS batch_saves,
  CAST(
    CASE WHEN count(*) = count(flex_each) THEN sum(CAST(quantity AS decimal(19, 0)) * (list_each - flex_each)) END
    AS decimal(38, 12)
  ) AS flex_saves
FROM standard
GROUP BY dt, tenant_id, model_id
