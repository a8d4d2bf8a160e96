{#- What the models share. -#}

{#- key_of: one text of 32 characters for the expressions together. -#}
{% macro key_of(expressions) %}
{%- set parts = [] -%}
{%- for expression in expressions -%}
  {%- do parts.append("coalesce(cast(" ~ expression ~ " as " ~ meetings.type_name('text') ~ "), '')") -%}
  {%- if not loop.last -%}{%- do parts.append("'|'") -%}{%- endif -%}
{%- endfor -%}
{{ dbt.hash(dbt.concat(parts)) }}
{%- endmacro %}


{#- one_of: a case expression of lists of a provider's values; whatever is not listed is 'unknown'. -#}
{% macro one_of(expression, values) %}
case
    {%- for ours, theirs in values.items() %}
    when lower({{ expression }}) in ({% for value in theirs %}'{{ value }}'{{ ', ' if not loop.last }}{% endfor %}) then '{{ ours }}'
    {%- endfor %}
    else 'unknown'
end
{%- endmacro %}


{#- first_text: the first of several names that a JSON object has. -#}
{% macro first_text(expression, names) -%}
coalesce({% for name in names %}{{ meetings.json_text(expression, name) }}{{ ', ' if not loop.last }}{% endfor %})
{%- endmacro %}


{#- link_in: the expression if it is a link, else null. -#}
{% macro link_in(expression) -%}
case when lower({{ expression }}) like 'http://%' or lower({{ expression }}) like 'https://%' then {{ expression }} end
{%- endmacro %}


{#- later_of: the later of two moments, either of which may be null. -#}
{% macro later_of(one, other) -%}
greatest(coalesce({{ one }}, {{ other }}), coalesce({{ other }}, {{ one }}))
{%- endmacro %}


{#- changed_in: the select of an incremental model. All rows of the relation; in an incremental run
    those of meetings that were extracted since the latest one that is in the table, less the look-back.
    That is told for each provider and connection: each is synced by a job of its own. -#}
{% macro changed_in(relation) %}
select latest.*
from {{ relation }} as latest
{%- if meetings.goes_on() %}
left join (
    select provider, connection, max(extracted_at) as extracted_at
    from {{ this }}
    group by provider, connection
) as seen
    on seen.provider = latest.provider and seen.connection = latest.connection
where seen.extracted_at is null
    or latest.extracted_at is null
    or latest.extracted_at >= cast({{
        dbt.dateadd('hour', -1 * var('meetings_look_back_hours'), 'seen.extracted_at')
    }} as {{ meetings.type_name('moment') }})
{%- endif %}
{% endmacro %}


{#- goes_on: whether this run adds to a table. Without introspection, whether it was asked to. -#}
{% macro goes_on() %}
{{- return(is_incremental() if var('meetings_introspect') else not should_full_refresh()) -}}
{% endmacro %}


{#- delete_gone: a post-hook. Rows whose key is no longer in the relation: attendees who were taken
    out of a meeting, and meetings that a full refresh of the raw table no longer has. -#}
{% macro delete_gone(relation, key) %}
{%- if meetings.goes_on() -%}
delete from {{ this }} where {{ key }} not in (select {{ key }} from {{ relation }})
{%- endif -%}
{% endmacro %}


{#- has_ended: whether a meeting is over by the clock; null if its times are not known. -#}
{% macro has_ended(starts_at, ends_at) -%}
coalesce({{ ends_at }}, {{ starts_at }}) < {{ meetings.now() }}
{%- endmacro %}


{#- mark_past: a post-hook. A meeting ends without its row being extracted again. -#}
{% macro mark_past() %}
{%- if meetings.goes_on() -%}
update {{ this }} set is_past = true where not is_past and {{ meetings.has_ended('starts_at', 'ends_at') }}
{%- endif -%}
{% endmacro %}


{#- is_any_of: whether the expression is one of the texts, whatever their case. -#}
{% macro is_any_of(expression, texts) -%}
{%- if texts -%}
coalesce(lower(trim({{ expression }})) in ({% for text in texts %}'{{ text | lower | trim | replace("'", "''") }}'{{ ', ' if not loop.last }}{% endfor %}), false)
{%- else -%}
false
{%- endif -%}
{%- endmacro %}
