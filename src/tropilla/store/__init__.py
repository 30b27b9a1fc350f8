"""What outlives a session: for now the chats."""
