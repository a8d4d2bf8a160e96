{#- values_of: the values that a column of the marts can have. -#}
{% macro values_of(column) %}
{{ return({
    'provider': ['close', 'salesloft', 'highlevel', 'expoplatform'],
    'status': ['scheduled', 'in_progress', 'completed', 'cancelled', 'declined', 'no_show', 'unknown'],
    'outcome': ['held', 'no_show', 'cancelled', 'unknown'],
    'response': ['needs_action', 'accepted', 'tentative', 'declined', 'attended', 'no_show', 'unknown'],
}[column]) }}
{% endmacro %}
