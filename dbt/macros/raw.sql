{#- Reading the raw tables: what exists, what is missing, one row a key. -#}

{#- stage: the select of a staging model, one row for each connection and key.
    provider, stream: the source and its table, as in models/staging/sources.yml.
    name: of the column that the key becomes, see `key_of`.
    key: the columns of the primary key. cursor: the column whose greatest value is the latest row.
    columns: pairs of the provider's field name and a type of macros/types.sql. Names are made
    snake_case; a column that the table lacks is null. -#}
{% macro stage(provider, stream, name, key, cursor, columns) %}
{%- set selects = [] -%}
{%- set tables = meetings.raw_tables(provider, source(provider, stream)) if meetings.using(provider, stream) else [] -%}
{%- for found in tables -%}
  {%- do selects.append(meetings.raw_select(found, columns)) -%}
{%- endfor -%}
with raw as (
{% if selects %}
{{ selects | join('\n    union all\n') }}
{% else %}
    -- no such table here
    select
        {{ meetings.as_type("''", 'text') }} as connection,
        {%- for name, type in columns %}
        {{ meetings.null_of(type) }} as {{ meetings.snake_case(name) }},
        {%- endfor %}
        {{ meetings.null_of('moment') }} as extracted_at
    {{ meetings.from_nothing() }}
    where 1 = 0
{% endif %}
),

ranked as (
    -- A destination that appends keeps every version of a row; the latest one counts.
    select
        raw.*,
        row_number() over (
            partition by connection, {{ key | join(', ') }}
            order by {% if cursor %}{{ cursor }} desc nulls last, {% endif %}extracted_at desc nulls last
        ) as version
    from raw
)

select
    {{ meetings.key_of(["'" ~ provider ~ "'", 'connection'] + key) }} as {{ name }},
    connection,
    {%- for column, type in columns %}
    {{ meetings.snake_case(column) }},
    {%- endfor %}
    extracted_at
from ranked
where version = 1
{%- endmacro %}


{#- using: whether the variables say that this stream is synced. -#}
{% macro using(provider, stream) %}
{{ return(var('using_' ~ provider) and var('using_' ~ stream)) }}
{% endmacro %}


{#- raw_tables: for each connection that has the declared table of the provider: its name, the table
    and its columns ({lower-case name: column}; none without introspection). Empty while dbt only
    parses. -#}
{% macro raw_tables(provider, declared) %}
{%- set found = [] -%}
{%- if execute -%}
  {%- for connection in var('meetings_connections') -%}
    {%- if provider in connection.get('providers', [provider]) -%}
      {%- set wanted = declared.incorporate(path={
            'database': connection.get('database') or declared.database,
            'schema': connection.get('schema') or declared.schema,
            'identifier': connection.get('prefix', '') ~ declared.identifier}) -%}
      {%- if not var('meetings_introspect') -%}
        {%- do found.append({'connection': connection.name, 'table': wanted, 'columns': none}) -%}
      {%- else -%}
        {%- set table = adapter.get_relation(wanted.database, wanted.schema, wanted.identifier) -%}
        {%- if table is not none -%}
          {%- set columns = {} -%}
          {%- for column in adapter.get_columns_in_relation(table) -%}
            {%- do columns.update({column.name | lower: column}) -%}
          {%- endfor -%}
          {%- do found.append({'connection': connection.name, 'table': table, 'columns': columns}) -%}
        {%- endif -%}
      {%- endif -%}
    {%- endif -%}
  {%- endfor -%}
{%- endif -%}
{{ return(found) }}
{% endmacro %}


{% macro raw_select(found, columns) %}
    select
        {{ meetings.as_type("'" ~ found.connection ~ "'", 'text') }} as connection,
        {%- for name, type in columns %}
        {{ meetings.raw_column(found, name, type) }} as {{ meetings.snake_case(name) }},
        {%- endfor %}
        {{ meetings.raw_column(found, '_airbyte_extracted_at', 'moment') }} as extracted_at
    from {{ found.table }}
{%- endmacro %}


{#- The column as that type, whatever its case in the warehouse; null where there is none. -#}
{% macro raw_column(found, name, type) %}
{%- if found.columns is none -%}
  {{ meetings.as_type(name, type) }}
{%- elif name | lower in found.columns -%}
  {%- set column = found.columns[name | lower] -%}
  {{ meetings.as_type(adapter.quote(column.name), type, column.data_type) }}
{%- else -%}
  {{ meetings.null_of(type) }}
{%- endif -%}
{% endmacro %}


{#- startTime -> start_time, is_deleted -> is_deleted -#}
{% macro snake_case(name) %}
{{- return(modules.re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', name) | lower) -}}
{% endmacro %}


{#- require_raw_tables: an empty table of meetings would hide a wrong schema; fail instead. The tables
    are taken from the graph, because a model that calls source() depends on it. -#}
{% macro require_raw_tables(streams) %}
{%- if execute -%}
  {%- set found = [] -%}
  {%- set looked_for = [] -%}
  {%- for declared in graph.sources.values() -%}
    {%- if declared.package_name == 'meetings' and declared.name in streams -%}
      {%- set table = api.Relation.create(
            database=declared.database, schema=declared.schema, identifier=declared.identifier) -%}
      {%- do looked_for.append(table | string) -%}
      {%- do found.extend(meetings.raw_tables(declared.source_name, table)) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- if not looked_for -%}
    {{ exceptions.raise_compiler_error("meetings: the variables using_... switch every provider off.") }}
  {%- elif not found -%}
    {{ exceptions.raise_compiler_error("meetings: there is no raw table. Set the variable meetings_schema"
       ~ " (and meetings_database) to where Airbyte writes. Looked for: " ~ looked_for | join(', ')) }}
  {%- endif -%}
{%- endif -%}
{% endmacro %}
