"""Gmail's REST interface over mailboxes that are kept: https://developers.google.com/workspace/gmail/api/reference/rest"""
