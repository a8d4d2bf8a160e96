{#- Where SQL differs. Types: text, number_text (text that may look like a number), integer, boolean,
    moment (a point in time, kept in UTC) and json.

    DuckDB and PostgreSQL are what the tests run. BigQuery and Snowflake are compiled only. -#}

{#- as_type: the expression as that type; `given` is its type in the warehouse, '' if unknown. -#}
{% macro as_type(expression, type, given='') %}
{%- if type == 'moment' -%}
  {{ adapter.dispatch('as_moment', 'meetings')(expression, given | lower) }}
{%- elif type == 'number_text' -%}
  {{ adapter.dispatch('as_number_text', 'meetings')(expression) }}
{%- elif type == 'json' -%}
  {{ adapter.dispatch('as_json', 'meetings')(expression, given | lower) }}
{%- else -%}
  cast({{ expression }} as {{ meetings.type_name(type) }})
{%- endif -%}
{% endmacro %}

{% macro null_of(type) %}
{{- 'cast(null as ' ~ meetings.type_name(type) ~ ')' -}}
{% endmacro %}

{% macro type_name(type) %}
{{- return(adapter.dispatch('type_names', 'meetings')()['text' if type == 'number_text' else type]) -}}
{% endmacro %}

{% macro default__type_names() %}
{{- return({'text': 'text', 'integer': 'bigint', 'boolean': 'boolean', 'moment': 'timestamp',
            'json': 'jsonb'}) -}}
{% endmacro %}
{% macro duckdb__type_names() %}
{{- return({'text': 'varchar', 'integer': 'bigint', 'boolean': 'boolean', 'moment': 'timestamp',
            'json': 'json'}) -}}
{% endmacro %}
{% macro bigquery__type_names() %}
{{- return({'text': 'string', 'integer': 'int64', 'boolean': 'bool', 'moment': 'timestamp',
            'json': 'json'}) -}}
{% endmacro %}
{% macro snowflake__type_names() %}
{{- return({'text': 'varchar', 'integer': 'bigint', 'boolean': 'boolean',
            'moment': 'timestamp_ntz', 'json': 'variant'}) -}}
{% endmacro %}


{#- A timestamp in UTC, without a zone. A column without a zone is UTC already, unless
    `meetings.zone()` says otherwise; text must have an offset. -#}
{% macro default__as_moment(expression, given) %}
{%- if given in ['timestamp', 'timestamp without time zone', 'datetime'] -%}
  {%- if meetings.zone() == 'UTC' -%}
    cast({{ expression }} as timestamp)
  {%- else -%}
    ({{ expression }} at time zone '{{ meetings.zone() }}' at time zone 'UTC')
  {%- endif -%}
{%- else -%}
  (cast({{ expression }} as timestamp with time zone) at time zone 'UTC')
{%- endif -%}
{% endmacro %}

{% macro bigquery__as_moment(expression, given) %}
{%- if given == 'datetime' -%}
  timestamp({{ expression }}, '{{ meetings.zone() }}')
{%- else -%}
  cast({{ expression }} as timestamp)
{%- endif -%}
{% endmacro %}

{% macro snowflake__as_moment(expression, given) %}
{%- if 'ntz' in given -%}
  convert_timezone('{{ meetings.zone() }}', 'UTC', {{ expression }})
{%- else -%}
  cast(convert_timezone('UTC', cast({{ expression }} as timestamp_tz)) as timestamp_ntz)
{%- endif -%}
{% endmacro %}

{#- now: this moment. A macro of its own, so that unit tests can set it. -#}
{% macro now() %}
{{- meetings.as_type(dbt.current_timestamp(), 'moment') -}}
{% endmacro %}


{#- The zone in which HighLevel's times without an offset are written; all others are UTC. -#}
{% macro zone() %}
{{- return(var('highlevel_time_zone') if model.name.startswith('stg_meetings__highlevel_') else 'UTC') -}}
{% endmacro %}


{#- PyAirbyte's cache in PostgreSQL (0.71) writes the text 123 as 123.0 if other rows have null. -#}
{% macro default__as_number_text(expression) %}
  cast({{ expression }} as {{ meetings.type_name('text') }})
{% endmacro %}
{% macro postgres__as_number_text(expression) %}
  regexp_replace(cast({{ expression }} as text), '^(\d+)\.0$', '\1')
{% endmacro %}


{% macro default__as_json(expression, given) %}cast({{ expression }} as jsonb){% endmacro %}
{% macro duckdb__as_json(expression, given) %}cast({{ expression }} as json){% endmacro %}
{% macro bigquery__as_json(expression, given) %}
{%- if given == 'string' -%}
  safe.parse_json({{ expression }})
{%- else -%}
  {{ expression }}
{%- endif -%}
{% endmacro %}
{% macro snowflake__as_json(expression, given) %}
{%- if given.startswith('varchar') or given.startswith('character') or given == 'text' -%}
  try_parse_json({{ expression }})
{%- else -%}
  to_variant({{ expression }})
{%- endif -%}
{% endmacro %}


{#- json_get: what a JSON object has under a name, or a list at a place, as JSON; else null. -#}
{% macro json_get(expression, at) %}
{{- adapter.dispatch('json_get', 'meetings')(expression, at) -}}
{% endmacro %}
{% macro default__json_get(expression, at) %}
{{- '(' ~ expression ~ ' -> ' ~ meetings.json_place(at) ~ ')' -}}
{% endmacro %}
{% macro bigquery__json_get(expression, at) %}
{{- 'json_query(' ~ expression ~ ', ' ~ meetings.json_path(at) ~ ')' -}}
{% endmacro %}
{% macro snowflake__json_get(expression, at) %}
{{- 'get(' ~ expression ~ ', ' ~ meetings.json_place(at) ~ ')' -}}
{% endmacro %}

{#- json_text: the same as text, for text, numbers and booleans. -#}
{% macro json_text(expression, at) %}
{{- adapter.dispatch('json_text', 'meetings')(expression, at) -}}
{% endmacro %}
{% macro default__json_text(expression, at) %}
{{- '(' ~ expression ~ ' ->> ' ~ meetings.json_place(at) ~ ')' -}}
{% endmacro %}
{% macro bigquery__json_text(expression, at) %}
{{- 'json_value(' ~ expression ~ ', ' ~ meetings.json_path(at) ~ ')' -}}
{% endmacro %}
{% macro snowflake__json_text(expression, at) %}
{{- 'cast(get(' ~ expression ~ ', ' ~ meetings.json_place(at) ~ ') as varchar)' -}}
{% endmacro %}

{% macro json_place(at) %}{{ return(at if at is number else "'" ~ at ~ "'") }}{% endmacro %}
{% macro json_path(at) %}
{{- return("'$[" ~ at ~ "]'" if at is number else "'$.\"" ~ at ~ "\"'") -}}
{% endmacro %}

{#- json_scalar: a JSON text, number or boolean itself as text. -#}
{% macro json_scalar(expression) %}
{{- adapter.dispatch('json_scalar', 'meetings')(expression) -}}
{% endmacro %}
{% macro default__json_scalar(expression) %}({{ expression }} #>> '{}'){% endmacro %}
{% macro duckdb__json_scalar(expression) %}({{ expression }} ->> '$'){% endmacro %}
{% macro bigquery__json_scalar(expression) %}json_value({{ expression }}){% endmacro %}
{% macro snowflake__json_scalar(expression) %}cast({{ expression }} as varchar){% endmacro %}


{#- json_rows: a select of the relation's rows, once for each element of its JSON list `column`, with
    the element and its place. Null, and what is no list, has no elements. -#}
{% macro json_rows(relation, column) %}
{{- adapter.dispatch('json_rows', 'meetings')(relation, column) -}}
{% endmacro %}
{% macro default__json_rows(relation, column) %}
    select listed.*, each_one.element, each_one.place
    from {{ relation }} as listed
    cross join lateral jsonb_array_elements(
        case when jsonb_typeof(listed.{{ column }}) = 'array' then listed.{{ column }}
             else cast('[]' as jsonb) end
    ) with ordinality as each_one (element, place)
{% endmacro %}
{% macro duckdb__json_rows(relation, column) %}
    select listed.*, json_extract(listed.{{ column }}, '$[' || places.place || ']') as element, places.place
    from {{ relation }} as listed
    cross join unnest(
        range(0, cast(coalesce(json_array_length(listed.{{ column }}), 0) as bigint))
    ) as places (place)
{% endmacro %}
{% macro bigquery__json_rows(relation, column) %}
    select listed.*, element, place
    from {{ relation }} as listed
    cross join unnest(json_query_array(listed.{{ column }})) as element with offset as place
{% endmacro %}
{% macro snowflake__json_rows(relation, column) %}
    select listed.*, each_one.value as element, each_one.index as place
    from {{ relation }} as listed,
        lateral flatten(input => listed.{{ column }}) as each_one
{% endmacro %}


{#- text_list: the different values of a group, in order, as one text. -#}
{% macro text_list(expression) %}
{{- adapter.dispatch('text_list', 'meetings')(expression) -}}
{% endmacro %}
{% macro default__text_list(expression) -%}
string_agg(distinct {{ expression }}, ', ' order by {{ expression }})
{%- endmacro %}
{% macro snowflake__text_list(expression) -%}
listagg(distinct {{ expression }}, ', ') within group (order by {{ expression }})
{%- endmacro %}


{#- Some warehouses want a FROM before a WHERE. -#}
{% macro from_nothing() %}from (select 1 as one) as nothing{% endmacro %}
