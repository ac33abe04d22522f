-- What did each of the last thirty days cost?
SELECT dt, sum(invocations) AS invocations, sum(cost) AS cost
FROM daily_cost
WHERE dt >= date_format(current_date - INTERVAL '30' DAY, '%Y-%m-%d')
GROUP BY dt
ORDER BY dt
