{{ meetings.stage('highlevel', 'highlevel_calendar_events', key=['id'], cursor='date_updated', columns=meetings.highlevel_appointment_columns()) }}
