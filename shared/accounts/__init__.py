"""The accounts room: people, their credentials, the tokens that prove who they are."""
