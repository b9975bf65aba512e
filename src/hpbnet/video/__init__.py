"""Video: a person of a clip or a picture put into a clip or a picture, frame by frame, steadily and with sound."""
