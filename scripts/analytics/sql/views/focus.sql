-- The costs as FOCUS 1.2, for any tool that reads that format. Per day, tenant, cost centre and model the lines sum to `costs`.
--   Usage       one line per region, kind of token, price, key, user and tags. Unpriced usage has its own line: FOCUS requires a cost
--               and a price of each usage, so both are 0, its category is Other, and x_PriceStatus is unpriced
--   Correction  amounts restated after their month had ended, billed in the month of the restatement
--   Adjustment  amounts that prices do not explain: the rounding of markups, and usage unknown when a month was corrected
WITH metered AS (
  SELECT
    dt,
    tenant_id,
    cost_centre,
    model_id,
    region,
    tier,
    unit,
    price_name,
    charged_each,
    list_each,
    quantity,
    cost,
    CAST(CAST(quantity AS decimal(19, 0)) * list_each AS decimal(38, 12)) AS list_cost,
    key_id,
    user_id,
    user_source,
    tags
  FROM usage_by_price
  WHERE quantity <> 0
), unpriced AS (
  SELECT
    u.dt,
    u.tenant_id,
    u.cost_centre,
    u.model_id,
    u.region,
    u.service_tier AS tier,
    n.unit,
    u.key_id,
    coalesce(u.user_id, '') AS user_id,
    coalesce(u.user_source, '') AS user_source,
    coalesce(u.tags, '{}') AS tags,
    sum(
      CASE
        WHEN n.unit = 'input_tokens' THEN u.input_tokens
        WHEN n.unit = 'output_tokens' THEN u.output_tokens
        WHEN n.unit = 'cache_read_tokens' THEN u.cache_read_tokens
        WHEN n.unit = 'cache_write_5m_tokens' THEN u.cache_write_5m_tokens
        WHEN n.unit = 'cache_write_1h_tokens' THEN u.cache_write_1h_tokens
        WHEN n.unit = 'input_image' THEN u.input_images
        WHEN n.unit = 'image' THEN u.images
      END
    ) AS quantity
  FROM usage AS u
  CROSS JOIN UNNEST(
    split(
      'input_tokens output_tokens cache_read_tokens cache_write_5m_tokens cache_write_1h_tokens input_image image', ' '
    )
  ) AS n (unit)
  WHERE u.price_status = 'unpriced'
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
), lines AS (
  SELECT
    dt,
    tenant_id,
    cost_centre,
    model_id,
    CASE WHEN date_format(restated_at, '%Y-%m') > substr(dt, 1, 7) THEN date_format(restated_at, '%Y-%m') END
      AS corrected_in,
    coalesce(cost, CAST(0 AS decimal(38, 12))) AS cost,
    coalesce(list_cost, cost, CAST(0 AS decimal(38, 12))) AS list_cost
  FROM costs
), differences AS (
  SELECT dt, tenant_id, cost_centre, model_id, sum(cost) AS cost, sum(list_cost) AS list_cost
  FROM (
    SELECT dt, tenant_id, cost_centre, model_id, cost, list_cost
    FROM lines
    WHERE corrected_in IS NULL
    UNION ALL
    SELECT dt, tenant_id, cost_centre, model_id, -cost AS cost, -list_cost AS list_cost
    FROM metered
  ) AS both_sides
  GROUP BY 1, 2, 3, 4
), charges AS (
  SELECT
    dt,
    substr(dt, 1, 7) AS billed_in,
    tenant_id,
    cost_centre,
    model_id,
    region,
    tier,
    unit,
    price_name,
    'Usage' AS category,
    CAST(NULL AS varchar) AS class,
    'Usage of ' || model_id || ': ' || unit || ', tier ' || tier AS description,
    charged_each,
    list_each,
    quantity,
    cost,
    list_cost,
    key_id,
    user_id,
    user_source,
    tags
  FROM metered
  UNION ALL
  SELECT
    dt,
    substr(dt, 1, 7) AS billed_in,
    tenant_id,
    cost_centre,
    model_id,
    region,
    tier,
    unit,
    model_id || '/' || region || '/' || tier || '/' || unit || '@unpriced' AS price_name,
    'Usage' AS category,
    CAST(NULL AS varchar) AS class,
    'Unpriced usage of ' || model_id || ': ' || unit || ', tier ' || tier || '; its cost is not known yet' AS description,
    CAST(0 AS decimal(38, 12)) AS charged_each,
    CAST(0 AS decimal(38, 12)) AS list_each,
    CAST(quantity AS bigint) AS quantity,
    CAST(0 AS decimal(38, 12)) AS cost,
    CAST(0 AS decimal(38, 12)) AS list_cost,
    key_id,
    user_id,
    user_source,
    tags
  FROM unpriced
  WHERE quantity <> 0
  UNION ALL
  SELECT
    dt,
    corrected_in AS billed_in,
    tenant_id,
    cost_centre,
    model_id,
    CAST(NULL AS varchar) AS region,
    CAST(NULL AS varchar) AS tier,
    CAST(NULL AS varchar) AS unit,
    CAST(NULL AS varchar) AS price_name,
    'Usage' AS category,
    'Correction' AS class,
    'Restatement of ' || dt || ' for ' || model_id AS description,
    CAST(NULL AS decimal(38, 12)) AS charged_each,
    CAST(NULL AS decimal(38, 12)) AS list_each,
    CAST(NULL AS bigint) AS quantity,
    sum(cost) AS cost,
    sum(list_cost) AS list_cost,
    CAST(NULL AS varchar) AS key_id,
    '' AS user_id,
    '' AS user_source,
    '{}' AS tags
  FROM lines
  WHERE corrected_in IS NOT NULL
  GROUP BY dt, corrected_in, tenant_id, cost_centre, model_id
  UNION ALL
  SELECT
    dt,
    substr(dt, 1, 7) AS billed_in,
    tenant_id,
    cost_centre,
    model_id,
    CAST(NULL AS varchar) AS region,
    CAST(NULL AS varchar) AS tier,
    CAST(NULL AS varchar) AS unit,
    CAST(NULL AS varchar) AS price_name,
    'Adjustment' AS category,
    CAST(NULL AS varchar) AS class,
    'What the prices of ' || dt || ' do not explain for ' || model_id AS description,
    CAST(NULL AS decimal(38, 12)) AS charged_each,
    CAST(NULL AS decimal(38, 12)) AS list_each,
    CAST(NULL AS bigint) AS quantity,
    cost,
    list_cost,
    CAST(NULL AS varchar) AS key_id,
    '' AS user_id,
    '' AS user_source,
    '{}' AS tags
  FROM differences
  WHERE cost <> CAST(0 AS decimal(38, 12)) OR list_cost <> CAST(0 AS decimal(38, 12))
)
SELECT
  'model-gateway' AS BillingAccountId,
  'Model gateway' AS BillingAccountName,
  'Gateway' AS BillingAccountType,
  CAST(CAST(billed_in || '-01' AS date) AS timestamp) AS BillingPeriodStart,
  CAST(CAST(billed_in || '-01' AS date) AS timestamp) + INTERVAL '1' MONTH AS BillingPeriodEnd,
  CAST(CAST(dt AS date) AS timestamp) AS ChargePeriodStart,
  CAST(CAST(dt AS date) AS timestamp) + INTERVAL '1' DAY AS ChargePeriodEnd,
  tenant_id AS SubAccountId,
  tenant_id AS SubAccountName,
  'Tenant' AS SubAccountType,
  category AS ChargeCategory,
  class AS ChargeClass,
  description AS ChargeDescription,
  CASE WHEN category = 'Usage' THEN 'Usage-Based' ELSE 'One-Time' END AS ChargeFrequency,
  'USD' AS BillingCurrency,
  CAST(cost AS decimal(38, 12)) AS BilledCost,
  CAST(cost AS decimal(38, 12)) AS EffectiveCost,
  CAST(cost AS decimal(38, 12)) AS ContractedCost,
  CAST(list_cost AS decimal(38, 12)) AS ListCost,
  CAST(charged_each AS decimal(38, 12)) AS ContractedUnitPrice,
  CAST(list_each AS decimal(38, 12)) AS ListUnitPrice,
  CASE WHEN price_name LIKE '%@unpriced' THEN 'Other' WHEN quantity IS NOT NULL THEN 'Standard' END AS PricingCategory,
  'USD' AS PricingCurrency,
  CAST(charged_each AS decimal(38, 12)) AS PricingCurrencyContractedUnitPrice,
  CAST(cost AS decimal(38, 12)) AS PricingCurrencyEffectiveCost,
  CAST(list_each AS decimal(38, 12)) AS PricingCurrencyListUnitPrice,
  CAST(quantity AS decimal(38, 12)) AS PricingQuantity,
  CASE
    WHEN unit LIKE '%tokens' THEN 'Tokens'
    WHEN unit LIKE '%image%' THEN 'Images'
    WHEN unit = 'second' THEN 'Seconds'
  END AS PricingUnit,
  CAST(quantity AS decimal(38, 12)) AS ConsumedQuantity,
  CASE
    WHEN unit LIKE '%tokens' THEN 'Tokens'
    WHEN unit LIKE '%image%' THEN 'Images'
    WHEN unit = 'second' THEN 'Seconds'
  END AS ConsumedUnit,
  -- The gateway has no commitments, but rules about other columns require these columns.
  CAST(NULL AS varchar) AS CommitmentDiscountCategory,
  CAST(NULL AS varchar) AS CommitmentDiscountId,
  CAST(NULL AS varchar) AS CommitmentDiscountName,
  CAST(NULL AS decimal(38, 12)) AS CommitmentDiscountQuantity,
  CAST(NULL AS varchar) AS CommitmentDiscountStatus,
  CAST(NULL AS varchar) AS CommitmentDiscountType,
  CAST(NULL AS varchar) AS CommitmentDiscountUnit,
  'Model gateway' AS ProviderName,
  'Model gateway' AS PublisherName,
  'Model gateway' AS InvoiceIssuerName,
  -- The statement of the tenant's month; its folder has this name.
  'month=' || billed_in || '/tenant=' || tenant_id AS InvoiceId,
  'AI and Machine Learning' AS ServiceCategory,
  'Generative AI' AS ServiceSubcategory,
  'Model gateway' AS ServiceName,
  region AS RegionId,
  region AS RegionName,
  CASE WHEN quantity IS NOT NULL THEN model_id || '/' || unit END AS SkuId,
  CASE WHEN quantity IS NOT NULL THEN unit END AS SkuMeter,
  price_name AS SkuPriceId,
  CASE WHEN quantity IS NOT NULL THEN '{"x_ModelId": "' || model_id || '", "x_ServiceTier": "' || tier || '"}' END
    AS SkuPriceDetails,
  -- The gateway's tags, then the client's; a tag of the client with a name of the gateway's is renamed.
  '{"cost_centre":"' || cost_centre || '"'
  || CASE
    WHEN user_id = '' THEN ''
    ELSE ',"user_id":"' || replace(replace(user_id, '\', '\\'), '"', '\"') || '","user_source":"' || user_source || '"'
  END
  || CASE
    WHEN tags = '{}' THEN '}'
    ELSE ',' || substr(
      replace(
        replace(replace(tags, '"cost_centre":', '"tag_cost_centre":'), '"user_id":', '"tag_user_id":'),
        '"user_source":',
        '"tag_user_source":'
      ),
      2
    )
  END AS Tags,
  cost_centre AS x_CostCentre,
  model_id AS x_ModelId,
  CASE WHEN price_name LIKE '%@unpriced' THEN 'unpriced' WHEN quantity IS NOT NULL THEN 'priced' END AS x_PriceStatus,
  key_id AS x_KeyId,
  nullif(user_id, '') AS x_UserId,
  nullif(user_source, '') AS x_UserSource
FROM charges
