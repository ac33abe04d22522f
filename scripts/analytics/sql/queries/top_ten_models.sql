-- Which ten models cost most this month?
SELECT place, model_id, cost, percent_of_month, invocations, tokens_read, tokens_written
FROM top_models
WHERE month = date_format(current_date, '%Y-%m') AND place <= 10
ORDER BY place, model_id
