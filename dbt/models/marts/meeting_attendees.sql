{{ config(
    unique_key='attendee_key',
    post_hook="{{ meetings.delete_gone(ref('int_meeting_attendees'), 'attendee_key') }}"
) }}

{{ meetings.changed_in(ref('int_meeting_attendees')) }}
