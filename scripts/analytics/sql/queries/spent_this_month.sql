-- How much has each tenant spent this month, and how much by the same day of last month?
SELECT
  tenant_id,
  max(CASE WHEN month = date_format(current_date, '%Y-%m') THEN month_to_date END) AS this_month,
  max(
    CASE WHEN month < date_format(current_date, '%Y-%m') AND dt <= date_format(current_date - INTERVAL '1' MONTH, '%Y-%m-%d')
      THEN month_to_date END
  ) AS last_month_by_then
FROM month_to_date
WHERE month >= date_format(current_date - INTERVAL '1' MONTH, '%Y-%m')
GROUP BY tenant_id
ORDER BY this_month DESC NULLS LAST, tenant_id
