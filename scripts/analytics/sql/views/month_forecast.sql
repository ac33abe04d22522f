-- How much will each tenant and cost centre spend by the month's end, by the newest forecast, and how many days were anomalous?
WITH newest AS (
  SELECT month, max(dt) AS dt
  FROM forecasts
  GROUP BY month
), strange AS (
  SELECT substr(dt, 1, 7) AS month, tenant_id, count(*) AS days
  FROM anomalies
  GROUP BY 1, 2
)
SELECT
  forecasts.month,
  forecasts.dt AS as_of,
  forecasts.tenant_id,
  forecasts.cost_centre,
  forecasts.month_to_date,
  forecasts.expected,
  forecasts.low,
  forecasts.high,
  forecasts.budget,
  forecasts.above_budget,
  CAST(CASE WHEN forecasts.cost_centre = '' THEN coalesce(strange.days, 0) END AS bigint) AS strange_days
FROM forecasts
INNER JOIN newest ON forecasts.month = newest.month AND forecasts.dt = newest.dt
LEFT JOIN strange ON forecasts.month = strange.month AND forecasts.tenant_id = strange.tenant_id
