-- Which costs changed after their day was closed, when, by how much, and because of late usage or another price?
SELECT
  dt,
  substr(dt, 1, 7) AS month,
  restated_at,
  CASE WHEN date_format(restated_at, '%Y-%m') > substr(dt, 1, 7) THEN 'after the month' ELSE 'within the month' END AS moment,
  CASE
    WHEN invocations <> 0 OR failed_invocations <> 0 OR input_tokens <> 0 OR output_tokens <> 0 OR images <> 0
      OR cache_read_tokens <> 0 OR cache_write_5m_tokens <> 0 OR cache_write_1h_tokens <> 0 OR input_images <> 0
    THEN 'usage'
    ELSE 'price'
  END AS cause,
  tenant_id,
  cost_centre,
  model_id,
  invocations,
  input_tokens,
  output_tokens,
  CAST(coalesce(cost, CAST(0 AS decimal(38, 12))) AS decimal(38, 12)) AS cost,
  CAST(coalesce(list_cost, cost, CAST(0 AS decimal(38, 12))) AS decimal(38, 12)) AS list_cost,
  price_version
FROM costs
WHERE line_kind = 'restatement'
