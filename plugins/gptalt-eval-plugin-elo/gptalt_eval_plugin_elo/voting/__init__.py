"""The voting page: several people judge models' answers side by side, blind."""
