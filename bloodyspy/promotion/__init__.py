"""Who becomes champion, decided on evidence."""
