{# The columns, with their types, of raw streams that have the same rows. #}

{% macro close_meeting_columns() %}
{{ return([
    ('id', 'text'),
    ('title', 'text'),
    ('note', 'text'),
    ('status', 'text'),
    ('starts_at', 'moment'),
    ('ends_at', 'moment'),
    ('duration', 'integer'),
    ('location', 'text'),
    ('conference_links', 'json'),
    ('user_id', 'text'),
    ('user_name', 'text'),
    ('lead_id', 'text'),
    ('contact_id', 'text'),
    ('provider_calendar_ids', 'json'),
    ('provider_calendar_type', 'text'),
    ('provider_calendar_event_id', 'text'),
    ('calendar_event_uids', 'json'),
    ('is_recurring', 'boolean'),
    ('outcome_id', 'text'),
    ('summary', 'json'),
    ('attendees', 'json'),
    ('date_created', 'moment'),
    ('date_updated', 'moment'),
]) }}
{% endmacro %}

{% macro highlevel_appointment_columns() %}
{{ return([
    ('id', 'text'),
    ('title', 'text'),
    ('notes', 'text'),
    ('description', 'text'),
    ('appointmentStatus', 'text'),
    ('startTime', 'moment'),
    ('endTime', 'moment'),
    ('address', 'text'),
    ('assignedUserId', 'text'),
    ('users', 'json'),
    ('contactId', 'text'),
    ('contactName', 'text'),
    ('calendarId', 'text'),
    ('isRecurring', 'boolean'),
    ('masterEventId', 'text'),
    ('dateAdded', 'moment'),
    ('dateUpdated', 'moment'),
    ('deleted', 'boolean'),
]) }}
{% endmacro %}
