{#- Every value of the column is one that macros/values.sql lists for it. A test of our own, because dbt
    before 1.10.5 and later releases want the arguments of accepted_values in different places. -#}
{% test known_value(model, column_name) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} not in ('{{ meetings.values_of(column_name) | join("', '") }}')
{% endtest %}
