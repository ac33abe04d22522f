-- How much usage was billed at which price? One line per day, tenant, cost centre, key, user, tags, model, region and price.
WITH used AS (
  SELECT
    u.dt,
    u.tenant_id,
    u.cost_centre,
    u.model_id,
    u.region,
    u.key_id,
    coalesce(u.user_id, '') AS user_id,
    coalesce(u.user_source, '') AS user_source,
    coalesce(u.tags, '{}') AS tags,
    p.model_id AS priced_model,
    p.region AS priced_region,
    p.tier,
    p.unit,
    p.price_name,
    p.usd_each,
    p.is_listed,
    nullif(split_part(n.price_used, '*', 2), '') AS markup,
    sum(
      CASE
        WHEN p.unit = 'input_tokens' THEN u.input_tokens
        WHEN p.unit = 'output_tokens' THEN u.output_tokens
        WHEN p.unit = 'cache_read_tokens' THEN u.cache_read_tokens
        WHEN p.unit = 'cache_write_5m_tokens' THEN u.cache_write_5m_tokens
        WHEN p.unit = 'cache_write_1h_tokens' THEN u.cache_write_1h_tokens
        WHEN p.unit = 'input_image' THEN u.input_images
        WHEN p.unit LIKE 'image%' THEN u.images
        -- A started second counts as a whole second.
        WHEN p.unit = 'second'
        THEN CAST(ceil(CAST(date_diff('millisecond', u.started_at, u.settled_at) AS double) / 1000e0) AS bigint)
      END
    ) AS quantity
  FROM usage AS u
  CROSS JOIN UNNEST(split(u.price_rows, ' ')) AS n (price_used)
  INNER JOIN prices AS p ON p.price_name = split_part(n.price_used, '*', 1)
  WHERE u.price_status = 'priced'
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
), priced AS (
  SELECT
    dt,
    tenant_id,
    cost_centre,
    model_id,
    region,
    key_id,
    user_id,
    user_source,
    tags,
    priced_model,
    priced_region,
    tier,
    unit,
    price_name,
    usd_each,
    is_listed,
    quantity,
    CAST(
      CASE WHEN markup IS NULL THEN usd_each ELSE CAST(usd_each * CAST(markup AS decimal(18, 10)) AS decimal(38, 12)) END
      AS decimal(38, 12)
    ) AS charged_each
  FROM used
)
SELECT
  c.dt,
  c.tenant_id,
  c.cost_centre,
  c.model_id,
  c.region,
  c.tier,
  c.unit,
  c.priced_model,
  c.priced_region,
  c.price_name,
  CAST(c.quantity AS bigint) AS quantity,
  c.charged_each,
  -- A model that is not on the public list has only its agreed price.
  CAST(CASE WHEN c.is_listed THEN c.usd_each ELSE coalesce(l.usd_each, c.usd_each) END AS decimal(38, 12)) AS list_each,
  CAST(CAST(c.quantity AS decimal(19, 0)) * c.charged_each AS decimal(38, 12)) AS cost,
  c.key_id,
  c.user_id,
  c.user_source,
  c.tags
FROM priced AS c
LEFT JOIN price_periods AS l
  ON NOT c.is_listed
  AND l.model_id = c.priced_model
  AND l.region = c.priced_region
  AND l.tier = c.tier
  AND l.unit = c.unit
  AND l.effective_from <= CAST(c.dt AS date)
  AND l.until > CAST(c.dt AS date)
