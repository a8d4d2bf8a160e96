{{ config(
    alias='meeting_attendees',
    unique_key='attendee_key',
    post_hook="{{ meetings.delete_gone(ref('meetings', 'int_meetings__attendees'), 'attendee_key') }}"
) }}

{{ meetings.changed_in(ref('meetings', 'int_meetings__attendees')) }}
