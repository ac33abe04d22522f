-- Which usage since the first of last month has no price, so that no report has its cost?
SELECT model_id, region, service_tier, min(dt) AS first_day, max(dt) AS last_day, sum(invocations) AS invocations,
  sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(images) AS images
FROM unpriced_usage
WHERE dt >= date_format(current_date - INTERVAL '1' MONTH, '%Y-%m-01')
GROUP BY model_id, region, service_tier
ORDER BY invocations DESC, model_id, region, service_tier
