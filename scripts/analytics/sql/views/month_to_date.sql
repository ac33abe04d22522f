-- How much has each tenant spent since the first of the month, day by day?
WITH days AS (
  SELECT dt, tenant_id, sum(cost) AS cost, sum(coalesce(list_cost, cost)) AS list_cost
  FROM costs
  GROUP BY dt, tenant_id
)
SELECT
  substr(dt, 1, 7) AS month,
  dt,
  tenant_id,
  CAST(coalesce(cost, CAST(0 AS decimal(38, 12))) AS decimal(38, 12)) AS cost,
  CAST(
    coalesce(sum(cost) OVER (PARTITION BY tenant_id, substr(dt, 1, 7) ORDER BY dt), CAST(0 AS decimal(38, 12)))
    AS decimal(38, 12)
  ) AS month_to_date,
  CAST(
    coalesce(sum(list_cost) OVER (PARTITION BY tenant_id, substr(dt, 1, 7) ORDER BY dt), CAST(0 AS decimal(38, 12)))
    AS decimal(38, 12)
  ) AS list_month_to_date
FROM days
