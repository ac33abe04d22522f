-- Which public price is in force in which period? `until` is the first day after it.
SELECT
  model_id,
  region,
  tier,
  unit,
  usd_each,
  effective_from,
  coalesce(
    lead(effective_from) OVER (PARTITION BY model_id, region, tier, unit ORDER BY effective_from),
    DATE '9999-12-31'
  ) AS until,
  price_name
FROM prices
WHERE is_listed
