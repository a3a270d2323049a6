"""What shows the system at work: the demo, the exercises, the sale, two Regions under load, the tour."""
