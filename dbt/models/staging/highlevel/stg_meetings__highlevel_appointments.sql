{{ meetings.stage('highlevel', 'highlevel_appointments', name='meeting_key', key=['id'], cursor='date_updated', columns=meetings.highlevel_appointment_columns()) }}
