"""What a user installs: the wheel, the sdist, and that list, links and tree of packages agree."""
