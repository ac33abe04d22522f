-- How much, in USD, do the ledger and AWS's bill differ on a day, by model and principal, and for which reasons?
SELECT
  dt,
  model_id,
  principal,
  CAST(sum(ledger) AS decimal(38, 12)) AS ledger,
  CAST(sum(aws) AS decimal(38, 12)) AS aws,
  CAST(sum(difference) AS decimal(38, 12)) AS difference,
  CAST(sum(unpriced) AS decimal(38, 12)) AS unpriced,
  CAST(sum(late) AS decimal(38, 12)) AS late,
  CAST(sum(interrupted) AS decimal(38, 12)) AS interrupted,
  CAST(sum(out_of_band) AS decimal(38, 12)) AS out_of_band,
  CAST(sum(discount) AS decimal(38, 12)) AS discount,
  CAST(sum(adjustment) AS decimal(38, 12)) AS adjustment,
  CAST(sum(price) AS decimal(38, 12)) AS price,
  CAST(sum(rounding) AS decimal(38, 12)) AS rounding,
  CAST(sum(unexplained) AS decimal(38, 12)) AS unexplained,
  CAST(sum(CASE WHEN above_tolerance THEN 1 ELSE 0 END) AS bigint) AS lines_above_tolerance,
  CAST(sum(CASE WHEN mapped THEN 0 ELSE 1 END) AS bigint) AS unmapped_lines
FROM reconciliation
WHERE measure = 'usd'
GROUP BY dt, model_id, principal
