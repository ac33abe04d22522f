-- Which models cost most in a month?
WITH models AS (
  SELECT
    substr(dt, 1, 7) AS month,
    model_id,
    sum(cost) AS cost,
    sum(invocations) AS invocations,
    sum(input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens) AS tokens_read,
    sum(output_tokens) AS tokens_written,
    sum(unpriced_invocations) AS unpriced_invocations
  FROM costs
  GROUP BY 1, 2
)
SELECT
  month,
  CAST(rank() OVER (PARTITION BY month ORDER BY cost DESC NULLS LAST) AS bigint) AS place,
  model_id,
  CAST(cost AS decimal(38, 12)) AS cost,
  CAST(100 AS double) * CAST(cost AS double) / nullif(CAST(sum(cost) OVER (PARTITION BY month) AS double), CAST(0 AS double))
    AS percent_of_month,
  CAST(invocations AS bigint) AS invocations,
  CAST(tokens_read AS bigint) AS tokens_read,
  CAST(tokens_written AS bigint) AS tokens_written,
  CAST(unpriced_invocations AS bigint) AS unpriced_invocations
FROM models
