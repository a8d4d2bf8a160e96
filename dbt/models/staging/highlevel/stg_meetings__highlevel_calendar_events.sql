{{ meetings.stage('highlevel', 'highlevel_calendar_events', name='meeting_key', key=['id'], cursor='date_updated', columns=meetings.highlevel_appointment_columns()) }}
