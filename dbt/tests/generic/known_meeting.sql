{#- Every meeting_key is in the table of meetings. A test of our own for the reason in known_value. -#}
{% test known_meeting(model, column_name) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} not in (select meeting_key from {{ ref('meetings', 'meetings__meetings') }})
{% endtest %}
