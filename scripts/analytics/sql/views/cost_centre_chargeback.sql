-- What is each cost centre charged for a month, and how much of that was known before the last restatement?
SELECT
  substr(dt, 1, 7) AS month,
  tenant_id,
  cost_centre,
  CAST(sum(invocations) AS bigint) AS invocations,
  CAST(sum(unpriced_invocations) AS bigint) AS unpriced_invocations,
  CAST(sum(cost) AS decimal(38, 12)) AS cost,
  CAST(sum(coalesce(list_cost, cost)) AS decimal(38, 12)) AS list_cost,
  CAST(sum(CASE WHEN coalesce(line_kind, 'original') = 'original' THEN cost END) AS decimal(38, 12)) AS original_cost,
  CAST(sum(CASE WHEN line_kind = 'restatement' THEN cost END) AS decimal(38, 12)) AS restated_cost
FROM costs
GROUP BY 1, 2, 3
