{{ meetings.stage('close', 'close_meetings_by_calendar_event', name='meeting_key', key=['id'], cursor='date_updated', columns=meetings.close_meeting_columns()) }}
