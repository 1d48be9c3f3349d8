"""What a task is and how its status may change, without any framework."""
