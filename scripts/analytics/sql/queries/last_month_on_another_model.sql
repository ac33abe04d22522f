-- Which five other models would have cost least for what a tenant used last month of its dearest model?
WITH last_month AS (
  SELECT tenant_id, model_id, other_model_id, sum(list_cost) AS list_cost, sum(other_cost) AS other_cost, count(*) AS days
  FROM what_if
  WHERE dt >= date_format(current_date - INTERVAL '1' MONTH, '%Y-%m-01') AND dt < date_format(current_date, '%Y-%m-01')
  GROUP BY tenant_id, model_id, other_model_id
), ranked AS (
  SELECT
    tenant_id,
    model_id,
    other_model_id,
    list_cost,
    other_cost,
    max(days) OVER (PARTITION BY tenant_id, model_id) AS all_days,
    days,
    dense_rank() OVER (PARTITION BY tenant_id ORDER BY list_cost DESC, model_id) AS model_place,
    row_number() OVER (PARTITION BY tenant_id, model_id ORDER BY days DESC, other_cost, other_model_id) AS other_place
  FROM last_month
)
SELECT tenant_id, model_id, list_cost, other_model_id, other_cost, list_cost - other_cost AS saves
FROM ranked
WHERE model_place = 1 AND other_place <= 5 AND days = all_days
ORDER BY tenant_id, other_place
