-- What did each value of a tag cost on each day? Choose one `tag_name`: a call with two tags is in the lines of both.
--   The lines of one name sum to the tenant's day in `daily_cost`: calls without that tag are the line with an empty
--   `tag_value`. A day on which no call has the tag has no line of that name.
WITH tagged AS (
  SELECT
    dt,
    tenant_id,
    CAST(json_extract(coalesce(tags, '{}'), '$') AS map(varchar, varchar)) AS pairs,
    sum(CASE WHEN outcome IN ('succeeded', 'interrupted') THEN 1 ELSE 0 END) AS invocations,
    sum(CASE WHEN outcome = 'failed' THEN 1 ELSE 0 END) AS failed_invocations,
    sum(CASE WHEN price_status = 'unpriced' THEN 1 ELSE 0 END) AS unpriced_invocations,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cost) AS cost,
    sum(coalesce(list_cost, cost)) AS list_cost
  FROM usage
  GROUP BY dt, tenant_id, coalesce(tags, '{}')
), names AS (
  SELECT DISTINCT t.dt, t.tenant_id, n.tag_name
  FROM tagged AS t
  CROSS JOIN UNNEST(map_keys(t.pairs)) AS n (tag_name)
)
SELECT
  t.dt,
  t.tenant_id,
  n.tag_name,
  CASE WHEN contains(map_keys(t.pairs), n.tag_name) THEN t.pairs[n.tag_name] ELSE '' END AS tag_value,
  CAST(sum(t.invocations) AS bigint) AS invocations,
  CAST(sum(t.failed_invocations) AS bigint) AS failed_invocations,
  CAST(sum(t.unpriced_invocations) AS bigint) AS unpriced_invocations,
  CAST(sum(t.input_tokens) AS bigint) AS input_tokens,
  CAST(sum(t.output_tokens) AS bigint) AS output_tokens,
  CAST(sum(t.cost) AS decimal(38, 12)) AS cost,
  CAST(sum(t.list_cost) AS decimal(38, 12)) AS list_cost
FROM tagged AS t
INNER JOIN names AS n ON n.dt = t.dt AND n.tenant_id = t.tenant_id
GROUP BY 1, 2, 3, 4
