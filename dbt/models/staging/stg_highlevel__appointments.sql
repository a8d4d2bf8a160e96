{{ meetings.stage('highlevel', 'highlevel_appointments', key=['id'], cursor='date_updated', columns=meetings.highlevel_appointment_columns()) }}
