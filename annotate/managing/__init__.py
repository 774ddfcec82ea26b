"""What managers look at and do with many items: lists and searches, changes with their undo, dashboards, work done."""
