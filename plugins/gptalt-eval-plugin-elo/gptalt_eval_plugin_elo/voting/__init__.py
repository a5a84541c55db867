"""The voting page: several people judge models' answers side by side, without seeing the models' names."""
