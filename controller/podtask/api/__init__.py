"""The PodTask API: names, models, validation rules and reasons."""
