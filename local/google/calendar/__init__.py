"""Calendar's REST interface: https://developers.google.com/workspace/calendar/api/v3/reference"""
